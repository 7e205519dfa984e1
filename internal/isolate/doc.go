// Package isolate runs a kind of rooms in a child process of its host. The host
// watches the child: it kills one that falls silent or grows beyond its memory, and
// finds out which rooms' code was at fault in a child that died, from what that
// left: a box in shared memory, in which every room marks the call of its code that
// is under way, and what the Go runtime wrote as it gave up.
package isolate
