//go:build !linux

package handover

import (
	"io/fs"
	"os"
)

const noFollow = 0

func own(fs.FileInfo) bool { return true }

func punch(*os.File, int64, int64) {}
