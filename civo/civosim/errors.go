package civosim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// statusOfCode has the HTTP status of each error code that is answered here. Most
// are not documented (civo-api, "Errors"): Options.Statuses changes them. A code
// that is not here is answered with 400.
var statusOfCode = map[string]int{
	"account_not_enabled_inc_card":                             http.StatusForbidden,
	"authentication_access_denied":                             http.StatusForbidden,
	"database_account_not_found":                               http.StatusUnauthorized,
	"database_cannot_manage_cluster_instance":                  http.StatusForbidden,
	"database_disk_image_not_found":                            http.StatusNotFound,
	"database_firewall_deleted_failed":                         http.StatusInternalServerError, // seen with 500 (civo/terraform-provider-civo#138)
	"database_firewall_duplicate_name":                         http.StatusConflict,
	"database_firewall_rule_not_found":                         http.StatusNotFound,
	"database_ip_in_use":                                       http.StatusConflict,
	"database_ip_not_found":                                    http.StatusNotFound,
	"database_network_delete_with_instance":                    http.StatusConflict,
	"database_volume_already_attached":                         http.StatusConflict,
	"database_volume_still_attached_cannot_delete":             http.StatusConflict,
	"database_firewall_mismatch":                               http.StatusConflict,
	"database_firewall_not_found":                              http.StatusNotFound,
	"database_instance_build_multiple_with_existing_public_ip": http.StatusBadRequest,
	"database_instance_find":                                   http.StatusNotFound,
	"database_network_not_found":                               http.StatusNotFound,
	"database_region_not_found":                                http.StatusNotFound, // seen with 404 (civo/cli#329)
	"database_size_not_found":                                  http.StatusNotFound,
	"database_ssh_key_not_found":                               http.StatusNotFound,
	"database_volume_not_found":                                http.StatusNotFound,
	"database_webhook_not_found":                               http.StatusNotFound,
	"instance_state_must_be_active_or_shutoff":                 http.StatusConflict,
	"out_of_capacity":                                          http.StatusConflict,
	"parameter_date_range":                                     http.StatusBadRequest,
	"parameter_date_range_too_long":                            http.StatusBadRequest,
	"parameter_image_and_volume_id_missing":                    http.StatusBadRequest,
	"parameter_label_invalid":                                  http.StatusBadRequest,
	"parameter_name_invalid":                                   http.StatusBadRequest,
	"parameter_size_missing":                                   http.StatusBadRequest,
	"parameter_time_value":                                     http.StatusBadRequest,
	"parameter_value_missing":                                  http.StatusBadRequest,
	"quota_limit_reached":                                      http.StatusForbidden,
	"region_unavailable":                                       http.StatusNotFound,
}

// answer is what goes back. An answer without write has its body whole.
type answer struct {
	status int
	kind   string // Content-Type
	header http.Header
	body   []byte
	write  func(w http.ResponseWriter) // writes a long body piece by piece
}

// success is the acknowledgement that most actions get.
var success = answer{status: http.StatusOK, kind: jsonType, body: []byte(`{"result":"success"}`)}

const jsonType = "application/json; charset=utf-8"

// ok is 200 with a JSON body.
func ok(v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		return plain(http.StatusInternalServerError, err.Error()) // cannot be: our own types
	}
	return answer{status: http.StatusOK, kind: jsonType, body: body}
}

// okID acknowledges that something with an id and a name was made or changed.
func okID(id, key, name string) answer {
	return ok(map[string]string{"id": id, key: name, "result": "success"})
}

// refuse is an error of the API. Code and reason are always strings: the
// official client crashes on anything else.
func (s *Sim) refuse(code, reason string, args ...any) answer {
	status, known := s.o.Statuses[code]
	if !known {
		if status, known = statusOfCode[code]; !known {
			status = http.StatusBadRequest
		}
	}
	return refusal(status, code, fmt.Sprintf(reason, args...))
}

func refusal(status int, code, reason string) answer {
	a := ok(map[string]string{"result": "failed", "code": code, "reason": reason})
	a.status = status
	return a
}

func plain(status int, text string) answer {
	return answer{status: status, kind: "text/plain; charset=utf-8", body: []byte(text + "\n")}
}

// page of a proxy that gave up.
func html(status int) answer {
	text := http.StatusText(status)
	return answer{status: status, kind: "text/html", body: []byte(strings.ReplaceAll(
		"<html>\r\n<head><title>TEXT</title></head>\r\n<body>\r\n<center><h1>TEXT</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
		"TEXT", fmt.Sprintf("%d %s", status, text)))}
}

// badKey is the answer to a wrong or missing key.
func (s *Sim) badKey() answer {
	switch s.o.RefuseKey {
	case RequiresAuthentication:
		a := ok(map[string]string{"result": "requires_authentication"})
		a.status = http.StatusUnauthorized
		return a
	case AccessDenied:
		return s.refuse(string(AccessDenied), "the key may not do this")
	}
	return s.refuse(string(s.o.RefuseKey), "no account has this key")
}
