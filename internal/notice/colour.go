package notice

import (
	"fmt"
	"os"
	"runtime"
)

// colours are the SGR codes of cyan, yellow, green, magenta, blue and red.
var colours = []int{36, 33, 32, 35, 34, 31}

// Colour returns text in the i-th of a few colours, which repeat.
func Colour(i int, text string) string {
	return fmt.Sprintf("\x1b[0;%dm%s\x1b[0m", colours[i%len(colours)], text)
}

// ColourAllowed reports whether the environment allows colours on a terminal.
// On Windows it does not: a console shows escape sequences only if that is
// enabled.
func ColourAllowed() bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && runtime.GOOS != "windows"
}
