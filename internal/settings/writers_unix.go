//go:build unix

package settings

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// maxLinks is how many symbolic links directoriesOf follows.
const maxLinks = 255

// directoriesOf returns the directories in which the names of path are looked
// up, from the root on. It follows all symbolic links in path, so the returned
// paths contain none.
func directoriesOf(path string) []string {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	var dirs []string
	dir, links := "/", 0
	for names := strings.Split(path, "/"); len(names) > 0; {
		name := names[0]
		names = names[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			dir = filepath.Dir(dir)
			continue
		}
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		next := filepath.Join(dir, name)
		target, err := os.Readlink(next)
		if err != nil { // not a symbolic link
			dir = next
			continue
		}
		if links++; links > maxLinks {
			return dirs
		}
		if filepath.IsAbs(target) {
			dir = "/"
		}
		names = slices.Concat(strings.Split(target, "/"), names)
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
// user's primary group, with the name of the user, and without other members in
// /etc/group. Many systems create such a group for each user, and new files on
// these systems are writable by it. Members that only another user database
// contains, such as LDAP, are not checked.
func isPrivateGroup(uid, gid int) bool {
	owner, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || owner.Gid != strconv.Itoa(gid) {
		return false
	}
	group, err := user.LookupGroupId(owner.Gid)
	if err != nil || group.Name != owner.Username {
		return false
	}
	groups, err := os.ReadFile("/etc/group")
	return err != nil || !hasOtherMembers(string(groups), gid, owner.Username)
}

// hasOtherMembers reports whether a group has members other than the user name.
// groups is the content of /etc/group.
func hasOtherMembers(groups string, gid int, name string) bool {
	for line := range strings.Lines(groups) {
		fields := strings.Split(strings.TrimSpace(line), ":") // name, password, group ID, members
		if len(fields) != 4 || fields[2] != strconv.Itoa(gid) {
			continue
		}
		for member := range strings.SplitSeq(fields[3], ",") {
			if member != "" && member != name {
				return true
			}
		}
	}
	return false
}
