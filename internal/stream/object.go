package stream

import (
	"bytes"
	"encoding/json"
	"time"
)

// Meta is the part of an object that Objects uses.
type Meta struct {
	UID       string // if it is empty, Namespace and Name identify the object
	Name      string
	Namespace string // empty if the object has no namespace
	Version   string // the resourceVersion
	// When is the time at which the object was created or last observed. It
	// determines which objects are the newest; see Objects.Limit.
	When time.Time
}

// key returns a string that identifies the object.
func (m Meta) key() string {
	if m.UID != "" {
		return m.UID
	}
	return m.Namespace + "/" + m.Name
}

// Object is an object of any resource type. It can be the type argument of
// Objects.
type Object struct {
	// Meta describes the object. When is the latest of creationTimestamp and,
	// for an Event, lastTimestamp, eventTime and series.lastObservedTime.
	Meta Meta
	// JSON is the object as the server has sent it. Servers omit the kind and
	// the apiVersion of an object that is part of a list.
	JSON json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler. Times that cannot be parsed are
// ignored.
func (o *Object) UnmarshalJSON(data []byte) error {
	var fields struct {
		Metadata struct {
			UID, Name, Namespace, ResourceVersion string
			CreationTimestamp                     optionalTime
		}
		LastTimestamp, EventTime optionalTime
		Series                   struct{ LastObservedTime optionalTime }
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	m := fields.Metadata
	o.Meta = Meta{UID: m.UID, Name: m.Name, Namespace: m.Namespace, Version: m.ResourceVersion}
	for _, t := range []optionalTime{
		m.CreationTimestamp, fields.LastTimestamp, fields.EventTime, fields.Series.LastObservedTime,
	} {
		if t.After(o.Meta.When) {
			o.Meta.When = t.Time
		}
	}
	o.JSON = bytes.Clone(data)
	return nil
}

// ObjectMeta returns o.Meta. It can be the value of Objects.Meta.
func ObjectMeta(o *Object) Meta { return o.Meta }

// optionalTime is a time. It is zero if the JSON is null or cannot be parsed.
type optionalTime struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (t *optionalTime) UnmarshalJSON(data []byte) error {
	if t.Time.UnmarshalJSON(data) != nil {
		t.Time = time.Time{}
	}
	return nil
}
