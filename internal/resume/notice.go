package resume

// Notice is one of Joined, Presence, Dropped and OtherTerm.
type Notice interface{ notice() }

type (
	// Joined means that the client has attached to a session that has other
	// clients. Others is their number.
	Joined struct{ Others int }
	// Presence means that another client has attached or left. Name is what it
	// claims to be, such as user@host. It may contain any bytes.
	Presence struct {
		Name     string
		Attached bool
	}
	// Dropped means that output was dropped, because the agent did not keep it
	// until this client could receive it.
	Dropped struct{ Bytes uint64 }
	// OtherTerm means that the command's TERM differs from the local TERM. Term
	// is the command's value. It may contain any bytes.
	OtherTerm struct{ Term string }
)

func (Joined) notice()    {}
func (Presence) notice()  {}
func (Dropped) notice()   {}
func (OtherTerm) notice() {}
