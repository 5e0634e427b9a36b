//go:build unix

package settings

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// attributes are the attributes of a file or directory that decide who can
// change it.
type attributes struct {
	path     string
	mode     fs.FileMode
	uid, gid int
}

func attributesOf(path string, info fs.FileInfo) (attributes, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return attributes{}, false
	}
	return attributes{path, info.Mode(), int(stat.Uid), int(stat.Gid)}, true
}

// otherWriters returns the text of File.OtherWriters for the file at path. It
// returns "" if the file is not a regular file, such as /dev/null. info
// describes the opened file.
func otherWriters(path string, info fs.FileInfo) string {
	if !info.Mode().IsRegular() {
		return ""
	}
	file, ok := attributesOf(path, info)
	if !ok {
		return ""
	}
	if problem := file.writers(os.Geteuid(), isPrivateGroup); problem != "" {
		return problem
	}
	for _, dir := range directoriesOf(path) {
		info, err := os.Stat(dir)
		if err != nil {
			continue // the directory is not readable, but the file is
		}
		if a, ok := attributesOf(dir, info); ok {
			if problem := a.writers(os.Geteuid(), isPrivateGroup); problem != "" {
				return problem
			}
		}
	}
	return ""
}

// directoriesOf returns the directories that contain the file at path, from its
// parent up to the root. If path has symbolic links, the directories of the
// file to which it refers follow.
func directoriesOf(path string) []string {
	var dirs []string
	add := func(path string, err error) {
		if err != nil {
			return
		}
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			dirs = append(dirs, dir)
			if dir == filepath.Dir(dir) {
				return
			}
		}
	}
	add(filepath.Abs(path))
	if target, err := filepath.EvalSymlinks(path); err == nil && target != path {
		add(filepath.Abs(target))
	}
	return dirs
}

// writers returns which users other than root and the user self can write to
// the file or directory, and how to prevent that; "" if there are none. The
// write permissions of a sticky directory do not matter, because only the owner
// of a file can replace the file there. privateGroup reports whether a group is
// the private group of a user; see isPrivateGroup.
func (a attributes) writers(self int, privateGroup func(uid, gid int) bool) string {
	const group, others fs.FileMode = 0o020, 0o002
	sticky := a.mode.IsDir() && a.mode&fs.ModeSticky != 0
	switch {
	case a.uid != 0 && a.uid != self:
		return fmt.Sprintf("%s belongs to the user ID %d", a.path, a.uid)
	case sticky:
		return ""
	case a.mode&others != 0:
		return fmt.Sprintf("every user can write to %[1]s (chmod go-w %[1]s)", a.path)
	case a.mode&group != 0 && !privateGroup(a.uid, a.gid):
		return fmt.Sprintf("the group ID %d can write to %[2]s (chmod g-w %[2]s)", a.gid, a.path)
	}
	return ""
}

// isPrivateGroup reports whether a group is the private group of a user: the
// user's primary group, with the name of the user. Many systems create such a
// group for each user, and new files on these systems are writable by it.
func isPrivateGroup(uid, gid int) bool {
	owner, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || owner.Gid != strconv.Itoa(gid) {
		return false
	}
	group, err := user.LookupGroupId(owner.Gid)
	return err == nil && group.Name == owner.Username
}
