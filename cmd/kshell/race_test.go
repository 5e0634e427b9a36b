//go:build race

package main

// raceFlag builds what the tests build as the tests were built, so that nothing is compiled twice.
var raceFlag = []string{"-race"}
