//go:build !race

package directory

const raceFactor = 1
