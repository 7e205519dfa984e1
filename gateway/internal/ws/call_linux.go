package ws

import (
	"syscall"
	"unsafe"
)

// Write is one write(2) on a socket that does not block. The runtime is not
// told, as it is by syscall.Write: it would get ready to run something else
// meanwhile, which costs more than a call that returns within microseconds,
// and on a busy machine it would have done so.
func Write(fd uintptr, p []byte) (int, error) { return call(syscall.SYS_WRITE, fd, p) }

func read(fd uintptr, p []byte) (int, error) { return call(syscall.SYS_READ, fd, p) }

func call(number, fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
