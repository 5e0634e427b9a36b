// Package settings is what a user prefers: a small YAML file and KSHELL_* variables, beside the flags.
//
// It does not know flags, Kubernetes or where the user's folders are.
//
//   - Precedence, highest first: a variable, the file's section for the current
//     context, the rest of the file, the default.
//   - An unknown key in the file is an error. Otherwise a setting with a typo
//     would silently have no effect.
package settings

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// The keys. Each is also a variable: KSHELL_ and the key in upper case, with _ for -.
const (
	Namespace  = "namespace"   // in place of the kubeconfig context's
	Shell      = "shell"       // what to open where no command is named
	EscapeChar = "escape-char" // as --escape-char
	Keepalive  = "keepalive"   // as --keepalive
	NodeImage  = "node-image"  // as --image of node-shell
)

// Keys are all of them, in the order in which they are shown.
func Keys() []string { return []string{Namespace, Shell, EscapeChar, Keepalive, NodeImage} }

// Value is a setting in force; empty if there is none. Source says where it comes from, in words.
type Value struct{ Key, Value, Source string }

// maxFile bounds the file, in bytes.
const maxFile = 1 << 20

// Settings are what a file and the variables hold.
type Settings struct {
	path     string
	lookup   func(name string) (string, bool)
	general  map[string]string
	contexts map[string]map[string]string
}

// None returns the settings without a file: those of the variables, read with
// lookup (os.LookupEnv).
func None(lookup func(name string) (string, bool)) *Settings {
	return &Settings{lookup: lookup}
}

// Load reads the file at path. lookup (os.LookupEnv) reads the variables.
// Errors are *FileError for invalid contents, and those of opening and reading
// the file, such as fs.ErrNotExist.
func Load(path string, lookup func(name string) (string, bool)) (*Settings, error) {
	raw, err := read(path)
	if err != nil {
		return nil, err
	}
	s := &Settings{path: path, lookup: lookup}
	return s, s.parse(raw)
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if len(raw) > maxFile {
		return nil, &FileError{path, "is larger than 1 MiB"}
	}
	return raw, err
}

// FileError is a mistake in the file.
type FileError struct{ Path, Words string }

func (e *FileError) Error() string { return fmt.Sprintf("%s: %s", e.Path, e.Words) }

// Hint names what may stand there.
func (e *FileError) Hint() string {
	return "the keys are " + strings.Join(Keys(), ", ") + "; under contexts: NAME: they can be set for one context"
}

func (s *Settings) parse(raw []byte) error {
	var file map[string]any
	if err := yaml.UnmarshalStrict(raw, &file); err != nil {
		return &FileError{s.path, "no YAML of keys and values: " + firstLine(err)}
	}
	contexts, ok := file["contexts"].(map[string]any)
	if file["contexts"] != nil && !ok {
		return &FileError{s.path, "contexts holds no names with settings"}
	}
	delete(file, "contexts")
	var err error
	if s.general, err = s.values("", file); err != nil {
		return err
	}
	s.contexts = map[string]map[string]string{}
	for name, part := range contexts {
		values, ok := part.(map[string]any)
		if part != nil && !ok {
			return &FileError{s.path, fmt.Sprintf("context %q holds no settings", name)}
		}
		if s.contexts[name], err = s.values(fmt.Sprintf(" of context %q", name), values); err != nil {
			return err
		}
	}
	return nil
}

func (s *Settings) values(where string, given map[string]any) (map[string]string, error) {
	values := map[string]string{}
	for key, value := range given {
		text, ok := value.(string)
		switch {
		case !slices.Contains(Keys(), key):
			return nil, &FileError{s.path, fmt.Sprintf("there is no setting %q%s", key, where)}
		case !ok:
			return nil, &FileError{s.path, fmt.Sprintf("the setting %q%s is no text", key, where)}
		}
		values[key] = text
	}
	return values, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Variable is the name of the environment variable for a key.
func Variable(key string) string {
	return "KSHELL_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

// Get gives the setting in force while context is in use.
func (s *Settings) Get(key, context string) Value {
	if value, ok := s.lookup(Variable(key)); ok && value != "" {
		return Value{key, value, "variable " + Variable(key)}
	}
	if value := s.contexts[context][key]; value != "" {
		return Value{key, value, fmt.Sprintf("%s, context %s", s.path, context)}
	}
	if value := s.general[key]; value != "" {
		return Value{key, value, s.path}
	}
	return Value{key, "", "default"}
}
