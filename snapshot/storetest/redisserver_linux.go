package storetest

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel end the server when the test binary is killed
// before it could.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
