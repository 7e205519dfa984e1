package poll

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// wait is an epoll_wait(2) that doesn't wait, and of which the runtime is not
// told, as in package socket.
func wait(epoll uintptr, events []unix.EpollEvent) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, epoll, uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	return int(n), errno
}
