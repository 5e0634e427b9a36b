package sandbox

import (
	"slices"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// object is implemented by all API types.
type object interface {
	metav1.Object
	runtime.Object
}

// event is one change in the history. Its object is never modified. A bookmark
// has no object, and is for the watches of all resources.
type event struct {
	version  int64
	kind     watch.EventType
	resource string
	obj      object
}

// store holds the API objects, and the history of changes that watches read.
// Objects in it are never modified in place: updatePod replaces a pod with a
// modified copy. So objects from the store can be read without a lock.
type store struct {
	mu      sync.Mutex
	version int64
	oldest  int64 // a watch from an earlier version gets 410
	objects map[string]map[types.NamespacedName]object
	history []event
	changed chan struct{} // closed and replaced at each change
	ended   chan struct{} // closed and replaced when all watches are to end
}

// historyLimit is the maximum number of changes in the history.
const historyLimit = 2000

// pods is the resource whose objects the sandbox itself changes.
const pods = "pods"

func newStore() *store {
	return &store{
		version: 100, objects: map[string]map[types.NamespacedName]object{},
		changed: make(chan struct{}), ended: make(chan struct{}),
	}
}

func keyOf(o object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// put adds or replaces an object. The caller must not modify it afterwards.
func (st *store) put(resource string, o object) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.objects[resource] == nil {
		st.objects[resource] = map[types.NamespacedName]object{}
	}
	kind := watch.Added
	if _, ok := st.objects[resource][keyOf(o)]; ok {
		kind = watch.Modified
	}
	st.objects[resource][keyOf(o)] = o
	st.record(kind, resource, o)
}

// updatePod calls f with a copy of a pod and replaces the pod with the copy. It
// does nothing if there is no such pod, or if the UID of the pod is not uid,
// because a new pod of the same name has replaced the old pod.
func (st *store) updatePod(key types.NamespacedName, uid types.UID, f func(object)) {
	st.mu.Lock()
	defer st.mu.Unlock()
	old, ok := st.objects[pods][key]
	if !ok || old.GetUID() != uid {
		return
	}
	changed, ok := old.DeepCopyObject().(object)
	if !ok {
		return
	}
	f(changed)
	st.objects[pods][key] = changed
	st.record(watch.Modified, pods, changed)
}

func (st *store) remove(resource string, key types.NamespacedName, uid types.UID) {
	st.mu.Lock()
	defer st.mu.Unlock()
	old, ok := st.objects[resource][key]
	if !ok || old.GetUID() != uid {
		return
	}
	gone, ok := old.DeepCopyObject().(object)
	if !ok {
		return
	}
	delete(st.objects[resource], key)
	st.record(watch.Deleted, resource, gone)
}

// bookmark adds a bookmark to the history.
func (st *store) bookmark() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.record(watch.Bookmark, "", nil)
}

// endWatches ends all watches that have begun.
func (st *store) endWatches() {
	st.mu.Lock()
	defer st.mu.Unlock()
	close(st.ended)
	st.ended = make(chan struct{})
}

// watchesEnd returns a channel that is closed by the next endWatches.
func (st *store) watchesEnd() <-chan struct{} {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.ended
}

// record adds a change to the history. The mutex must be locked.
func (st *store) record(kind watch.EventType, resource string, o object) {
	st.version++
	if o != nil {
		o.SetResourceVersion(strconv.FormatInt(st.version, 10))
	}
	st.history = append(st.history, event{st.version, kind, resource, o})
	if over := len(st.history) - historyLimit; over > 0 {
		st.oldest = st.history[over-1].version
		st.history = slices.Delete(st.history, 0, over)
	}
	close(st.changed)
	st.changed = make(chan struct{})
}

func (st *store) expire() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.version++ // the current version can still be watched, every earlier one is gone
	st.oldest = st.version
	st.history = nil
}

func (st *store) get(resource string, key types.NamespacedName) (object, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	o, ok := st.objects[resource][key]
	return o, ok
}

// list returns the matching objects, sorted by namespace and name, and the
// version of the list.
func (st *store) list(resource string, match func(object) bool) ([]object, int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	found := []object{}
	for _, o := range st.objects[resource] {
		if match(o) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b object) int {
		switch ka, kb := keyOf(a).String(), keyOf(b).String(); {
		case ka < kb:
			return -1
		case ka > kb:
			return 1
		default:
			return 0
		}
	})
	return found, st.version
}

// isExpired reports whether the history no longer has the changes after a
// version.
func (st *store) isExpired(version int64) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return version < st.oldest
}

// since returns the events after a version, the current version, and a channel
// that is closed at the next change. It returns an error if the version is not
// in the history.
func (st *store) since(version int64, resource string) (events []event, now int64, changed <-chan struct{}, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case version < st.oldest:
		return nil, st.version, nil, errExpired(version, st.oldest)
	case version > st.version:
		return nil, st.version, nil, errTooNew(version, st.version)
	}
	for _, e := range st.history {
		if e.version > version && (e.resource == resource || e.kind == watch.Bookmark) {
			events = append(events, e)
		}
	}
	return events, st.version, st.changed, nil
}
