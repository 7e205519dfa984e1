// Package pressure watches how much of its memory and file descriptors a
// process uses, and says what it must stop doing before they run out.
package pressure
