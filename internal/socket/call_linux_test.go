package socket

import (
	"net"
	"syscall"
	"testing"
	"unsafe"
)

// BenchmarkWrite compares ways to write to many sockets in turn.
func BenchmarkWrite(b *testing.B) {
	state := make([]byte, 258)
	for _, way := range []struct {
		name  string
		write func(fd uintptr, p []byte) (int, error)
	}{
		{"send", Write},
		{"write", func(fd uintptr, p []byte) (int, error) {
			n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
			if errno != 0 {
				return 0, errno
			}
			return int(n), nil
		}},
		{"syscall", func(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			many := make([]ends, 500)
			for i := range many {
				many[i] = connected(b)
			}
			drain := make([]byte, 64<<10)
			for i := 0; b.Loop(); i++ {
				e := &many[i%len(many)]
				if n, err := way.write(e.fd, state); n != len(state) {
					b.Fatal(n, err)
				}
				if i%len(many) == len(many)-1 {
					b.StopTimer()
					for k := range many {
						many[k].far.Read(drain)
					}
					b.StartTimer()
				}
			}
		})
	}
}

// ends are those of a connection: one as Write takes it.
type ends struct {
	fd  uintptr
	far net.Conn
}

func connected(b *testing.B) (e ends) {
	near, far := pair(b)
	near.(*direct).raw.Control(func(fd uintptr) { e.fd = fd })
	e.far = far
	return e
}
