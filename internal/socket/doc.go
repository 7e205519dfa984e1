// Package socket makes calls on sockets that don't block without telling the
// runtime, which gets ready, as for any call that may block, to run something
// else meanwhile: it wakes its monitor, and that looks every 20 µs whether the
// call is still under way. Where calls return within microseconds and come by
// the thousand this costs more than many of them.
package socket
