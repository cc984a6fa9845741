package lockwire

import "testing"

func TestATicketsRunIsReadFromItsPage(t *testing.T) {
	for page, want := range map[string]string{
		"https://git.example.com/wooo/shop/actions/runs/12?by_index=1":        "12",
		"https://git.example.com/wooo/shop/actions/runs/4711":                 "",
		"https://git.example.com/wooo/shop/actions/runs/?by_index=1":          "",
		"https://git.example.com/wooo/shop/actions/runs/1<script>?by_index=1": "",
		"": "",
	} {
		if got := runNumber(page); got != want {
			t.Errorf("%q: %q, want %q", page, got, want)
		}
	}
}
