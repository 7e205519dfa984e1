//go:build !race

package actor

const underRace = false
