package notice

import (
	"fmt"
	"os"
	"runtime"
)

// colors are the SGR codes of cyan, yellow, green, magenta, blue and red.
var colors = []int{36, 33, 32, 35, 34, 31}

// Color returns text in the i-th of a few colors, which repeat.
func Color(i int, text string) string {
	return fmt.Sprintf("\x1b[0;%dm%s\x1b[0m", colors[i%len(colors)], text)
}

// ColorAllowed reports whether the environment allows colors on a terminal. On
// Windows it returns false, because a console interprets escape sequences only
// if a program enables that.
func ColorAllowed() bool { return os.Getenv("NO_COLOR") == "" && UpdatesAllowed() }

// UpdatesAllowed reports whether a line on a terminal can be updated in place: TERM
// must be set, and must not be dumb. On Windows it returns false, as
// ColorAllowed does.
func UpdatesAllowed() bool {
	kind := os.Getenv("TERM")
	return kind != "" && kind != "dumb" && runtime.GOOS != "windows"
}
