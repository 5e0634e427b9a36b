//go:build !unix

package settings

import "io/fs"

// otherWriters returns "": on Windows, the mode of a file does not describe who
// can write to it.
func otherWriters(string, fs.FileInfo) string { return "" }
