package stream

import (
	"slices"

	"kshell/internal/apiclient"
)

// maxView limits the size of the objects in a view, in bytes of their JSON.
const maxView = 256 << 20

// entry is an object with its metadata and size.
type entry[T any] struct {
	object *T
	meta   Meta
	size   int // of its JSON, in bytes
}

// view contains the objects that were delivered, and computes the changes to
// deliver. The zero value is empty. It compares resource versions only for
// equality, because clients must not rely on their order.
type view[T any] struct {
	limit int         // the maximum number of items, of which the newest are kept; 0 means no limit
	items []*entry[T] // in the order in which they were added
	index map[string]*entry[T]
	size  int // the sum of the sizes of all items
}

// apply adds, replaces or removes one object. changed is false if there is
// nothing to deliver.
func (v *view[T]) apply(e *entry[T], deleted bool) (c Change[T], changed bool, err error) {
	old := v.index[e.meta.key()]
	switch {
	case deleted && old == nil:
		return c, false, nil
	case deleted:
		v.remove(old)
		return Change[T]{Type: Deleted, Object: e.object}, true, nil
	case old == nil && !v.makeRoom(e.meta):
		return c, false, nil
	case old != nil && old.sameVersion(e):
		return c, false, nil
	}
	c = Change[T]{Type: Added, Object: e.object}
	if old == nil {
		err = v.add(e)
	} else {
		c.Type = Modified
		err = v.update(old, e)
	}
	return c, err == nil, err
}

// sameVersion reports whether e and other are the same state of an object.
func (e *entry[T]) sameVersion(other *entry[T]) bool {
	return e.meta.Version != "" && e.meta.Version == other.meta.Version
}

// replace replaces all objects of the view by those of l. It returns the
// changes: first the objects that are not in the list any more, then the others
// in the order of l. An object that is in the list, but is removed because of
// the limit, is not Deleted.
func (v *view[T]) replace(l *listing[T]) []Change[T] {
	l.prune()
	var changes []Change[T]
	for _, old := range v.items {
		if !l.keys[old.meta.key()] {
			changes = append(changes, Change[T]{Type: Deleted, Object: old.object})
		}
	}
	before := v.index
	v.items, v.index, v.size = nil, make(map[string]*entry[T], len(l.items)), 0
	for _, e := range l.items {
		old := before[e.meta.key()]
		_ = v.add(e) // listing has checked the size
		switch {
		case old == nil:
			changes = append(changes, Change[T]{Type: Added, Object: e.object})
		case !old.sameVersion(e):
			changes = append(changes, Change[T]{Type: Modified, Object: e.object})
		}
	}
	return changes
}

// makeRoom makes room for an object with the metadata m: if the limit is
// reached, it removes the oldest object. It returns false, and removes nothing,
// if the new object is older than all others.
func (v *view[T]) makeRoom(m Meta) bool {
	if v.limit == 0 || len(v.items) < v.limit {
		return true
	}
	oldest := slices.MinFunc(v.items, compareAge)
	if m.When.Before(oldest.meta.When) {
		return false
	}
	v.remove(oldest)
	return true
}

// compareAge orders entries from the oldest to the newest.
func compareAge[T any](a, b *entry[T]) int { return a.meta.When.Compare(b.meta.When) }

func (v *view[T]) add(e *entry[T]) error {
	if v.index == nil {
		v.index = map[string]*entry[T]{}
	}
	v.items, v.index[e.meta.key()] = append(v.items, e), e
	v.size += e.size
	return checkSize(v.size)
}

// update replaces the state of an object.
func (v *view[T]) update(old, e *entry[T]) error {
	v.size += e.size - old.size
	*old = *e
	return checkSize(v.size)
}

func (v *view[T]) remove(e *entry[T]) {
	v.items = slices.Delete(v.items, slices.Index(v.items, e), slices.Index(v.items, e)+1)
	delete(v.index, e.meta.key())
	v.size -= e.size
}

func checkSize(size int) error {
	if size > maxView {
		return &apiclient.TooLargeError{What: "the list of all objects", Limit: maxView}
	}
	return nil
}

// listing collects the objects of a list.
type listing[T any] struct {
	limit int             // as in view
	items []*entry[T]     // in the order of the list; with a limit, and after prune, from the oldest to the newest
	keys  map[string]bool // the keys of all objects of the list
	size  int             // the sum of the sizes of items
}

func (l *listing[T]) add(e *entry[T]) error {
	if l.keys[e.meta.key()] { // the object was in an earlier page, too
		return nil
	}
	l.keys[e.meta.key()] = true
	l.items = append(l.items, e)
	if l.size += e.size; l.limit > 0 && len(l.items) >= 2*l.limit {
		l.prune()
	}
	return checkSize(l.size)
}

// prune sorts the objects, and removes the oldest beyond the limit. Without a
// limit, it does nothing.
func (l *listing[T]) prune() {
	if l.limit == 0 {
		return
	}
	slices.SortStableFunc(l.items, compareAge)
	if extra := len(l.items) - l.limit; extra > 0 {
		l.items = slices.Delete(l.items, 0, extra)
	}
	l.size = 0
	for _, e := range l.items {
		l.size += e.size
	}
}
