// The 100-line example in the language that it was written in, with its printing if `print` is the
// first argument: what src/example.rs ports, faults and all, and Go's runtime with it.
package main

import (
	"fmt"
	"os"
	"syscall"
)

const (
	bufferSize = 32 * 1024
	eventCount = 32
	backlog    = 4096

	edge  = 1 << 31 // syscall.EPOLLET is negative, which Events can't hold
	sent  = syscall.EPOLLIN
	ended = syscall.EPOLLIN | syscall.EPOLLRDHUP
)

type epoll struct {
	fd int
}

func newEpoll() (*epoll, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	return &epoll{fd: fd}, err
}

func (e *epoll) add(fd int, events uint32) error {
	return syscall.EpollCtl(e.fd, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

func (e *epoll) wait() ([]syscall.EpollEvent, error) {
	events := make([]syscall.EpollEvent, eventCount)
	n, err := syscall.EpollWait(e.fd, events, -1)
	if err == syscall.EINTR { // as Go's runtime sends itself signals
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return events[:n], nil
}

// Accepted sockets inherit TCP_NODELAY from the listener, as in all servers here.
func listen() (fd, port int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	if err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return
	}
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return
	}
	if err = syscall.Listen(fd, backlog); err != nil {
		return
	}
	name, err := syscall.Getsockname(fd)
	if err == nil {
		port = name.(*syscall.SockaddrInet4).Port
	}
	return
}

// One read into a new buffer, and one write. What goes wrong is nobody's concern.
func echo(fd int, printed *os.File) {
	buffer := make([]byte, bufferSize)
	n, err := syscall.Read(fd, buffer)
	if err != nil {
		return
	}
	if printed != nil {
		fmt.Fprintln(printed, buffer)
	}
	syscall.Write(fd, buffer[:n])
}

func serve(printed *os.File) error {
	listener, port, err := listen()
	if err != nil {
		return err
	}
	loop, err := newEpoll()
	if err != nil {
		return err
	}
	if err := loop.add(listener, syscall.EPOLLIN); err != nil {
		return err
	}
	fmt.Printf("listening on 127.0.0.1:%d\n", port)
	for {
		events, err := loop.wait()
		if err != nil {
			return err
		}
		for _, event := range events {
			fd := int(event.Fd)
			switch {
			case fd == listener:
				connection, _, err := syscall.Accept4(listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
				if err != nil {
					return err
				}
				if err := loop.add(connection, ended|edge); err != nil {
					return err
				}
			case event.Events == sent:
				echo(fd, printed)
			case event.Events == ended:
				syscall.Close(fd)
			}
		}
	}
}

func main() {
	var printed *os.File
	if len(os.Args) > 1 && os.Args[1] == "print" {
		var err error
		if printed, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fmt.Fprintln(os.Stderr, serve(printed))
	os.Exit(1)
}
