package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"kshell/internal/notice"
)

// tokenVariable is the environment variable that holds the token of Headlamp's
// desktop app.
const tokenVariable = "KSHELL_HEADLAMP_TOKEN" //nolint:gosec // the name of a variable, not a token

// maxHeadlampToken is the size of the largest token of the desktop app, in
// bytes.
const maxHeadlampToken = 16 << 10

// token returns the token of the desktop app, or "". It comes from the file of
// the flag, or else from the environment variable.
func (f *headlampFlags) token() (string, error) {
	token, source := os.Getenv(tokenVariable), "the variable "+tokenVariable
	if f.tokenFile != "" {
		source = "--" + tokenFileFlag + " " + f.tokenFile
		data, err := readToken(f.tokenFile)
		if err != nil {
			return "", fmt.Errorf("%s: %w", source, withoutPath(err))
		}
		token = string(data)
	}
	token = strings.TrimSpace(token)
	if f.tokenFile != "" && token == "" {
		return "", fmt.Errorf("%s: the file is empty", source)
	}
	if len(token) > maxHeadlampToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", notice.WithHint(
			fmt.Errorf("%s does not contain a token: a token is one line of at most 16 KiB, without blanks", source),
			"copy the token of Headlamp's desktop app")
	}
	return token, nil
}

func readToken(name string) ([]byte, error) {
	file, err := os.Open(name) //nolint:gosec // the user named the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()                         // the file was only read
	return io.ReadAll(io.LimitReader(file, maxHeadlampToken+2)) // a line feed may follow the token
}

// stateDir returns the directory for files that kshell keeps for the user, or
// "" if there is none. It may not exist.
func stateDir() string {
	base := os.Getenv("XDG_STATE_HOME")
	switch home, err := os.UserHomeDir(); {
	case runtime.GOOS == "windows":
		base, _ = os.UserCacheDir() // %LocalAppData%; "" after an error
	case runtime.GOOS == "darwin":
		base, _ = os.UserConfigDir() // ~/Library/Application Support; "" after an error
	case filepath.IsAbs(base): // the specification of XDG_STATE_HOME ignores relative paths
	case err == nil && filepath.IsAbs(home):
		base = filepath.Join(home, ".local", "state")
	default:
		return ""
	}
	if base == "" {
		return ""
	}
	return filepath.Join(base, "kshell")
}

const (
	userIDFile  = "headlamp-user"
	userIDBytes = 16
)

// userID returns the ID of this user for the contexts that are uploaded to
// Headlamp servers: 32 hexadecimal digits. It is random, and stored in dir. If
// the ID cannot be stored or read, userID returns a new one with an error.
//
// The ID is secret: Headlamp uses it to find the uploaded credentials.
func userID(dir string) (string, error) {
	random := make([]byte, userIDBytes)
	_, _ = rand.Read(random) // never fails
	id := hex.EncodeToString(random)
	if dir == "" {
		return id, errors.New("there is no home directory")
	}
	path := filepath.Join(dir, userIDFile)
	if known, err := readUserID(path); err == nil {
		return known, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return id, err
	}
	temp, err := os.CreateTemp(dir, userIDFile+"-*") // its mode is 0600
	if err != nil {
		return id, err
	}
	_, err = io.WriteString(temp, id+"\n")
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = moveFile(temp.Name(), path)
	}
	_ = os.Remove(temp.Name()) // it may have been renamed
	if err != nil {
		return id, err
	}
	known, err := readUserID(path) // another process may have stored its ID first
	if err != nil {
		return id, err
	}
	return known, nil
}

// moveFile gives the file temp the name path, unless the file path already
// contains a valid ID.
func moveFile(temp, path string) error {
	if err := os.Link(temp, path); err == nil {
		return nil
	}
	if _, err := readUserID(path); err == nil {
		return nil
	}
	return os.Rename(temp, path) // path is invalid, or the file system has no hard links
}

// readUserID returns the ID in a file. A file that other users can read is
// invalid.
func readUserID(path string) (string, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return "", &fs.PathError{Op: "read", Path: path, Err: errors.New("other users can read it")}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(data))
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != userIDBytes {
		return "", fmt.Errorf("%s does not contain an ID", path)
	}
	return id, nil
}
