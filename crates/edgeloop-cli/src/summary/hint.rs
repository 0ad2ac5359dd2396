//! What may be wrong with the options where a service is not what it was taken for.

use crate::results::Results;

/// What to look at, if anything.
pub(crate) fn of(results: &Results) -> Option<&'static str> {
    let (verify, before, options) = (&results.verify, &results.warmup.verify, &results.options);
    let greets = verify.greeting > 0 || before.greeting > 0;
    let has_surplus = verify.surplus > 0 || before.surplus > 0;
    let echoes = options.reply.iter().any(|reply| reply == "echo");
    if greets && options.greeting.is_some() {
        Some("More came before the first message than --greeting says")
    } else if greets {
        Some("The service speaks first: give --greeting the end of what it says, like lines:1")
    } else if results.datagrams.is_some() {
        of_datagrams(results)
    } else if options.send.is_empty() {
        None
    } else if results.messages == 0 && results.bytes_received > 0 {
        Some("Bytes came, but no reply was whole: see --reply")
    } else if echoes && verify.wrong_replies > 0 {
        Some("If the service does not echo: see --reply and --expect")
    } else if has_surplus && options.greeting.is_none() {
        Some("If the service speaks before it is asked: see --greeting; else see --reply")
    } else {
        None
    }
}

/// Nobody tells why no answer comes.
fn of_datagrams(results: &Results) -> Option<&'static str> {
    let came = results.datagrams.is_some_and(|it| it.corrupted + it.late > 0);
    let is_foreign = results.datagrams.is_some_and(|it| it.foreign > 0);
    if results.messages > 0 || came {
        let is_shared = results.target.addresses.len() > 1 && results.unanswered > 0;
        return is_shared.then_some(
            "If not all of these addresses answer: --first-address takes the first of each name",
        );
    }
    match (results.unanswered, is_foreign) {
        (0, _) => None,
        (_, false) => Some(
            "Nothing came back: nobody listens there, or the service does not echo, or a firewall \
             or a full queue has dropped it. Datagrams do not tell which",
        ),
        (_, true) => Some(
            "No answer came back, only datagrams from elsewhere or of other content: does the \
             service echo, and from the address that it is sent to?",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples::results;

    #[test]
    fn a_service_that_speaks_first_is_pointed_to_the_option_also_where_it_echoes() {
        assert_eq!(of(&results()), None);
        let mut echo = results();
        (echo.warmup.verify.surplus, echo.warmup.verify.greeting) = (9, 9);
        assert!(of(&echo).is_some_and(|hint| hint.contains("give --greeting")));
        echo.options.greeting = Some("lines:1".to_owned());
        assert!(of(&echo).is_some_and(|hint| hint.starts_with("More came before")));
    }

    #[test]
    fn a_reply_too_many_may_be_a_greeting_that_was_taken_for_one() {
        let mut late = results();
        late.verify.surplus = 9;
        assert_eq!(of(&late), None, "an echo has no replies");
        (late.options.send, late.options.reply) = (vec!["x".into()], vec!["lines:1".into()]);
        assert!(of(&late).is_some_and(|hint| hint.contains("see --greeting")));
        late.options.greeting = Some("lines:1".to_owned());
        assert_eq!(of(&late), None);
    }
}
