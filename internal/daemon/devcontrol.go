package daemon

// What limpet dev and its gateways agree on: the variable that carries the
// supervisor's secret to them, and the header in which one names itself.
const (
	DevSecretVariable = "LIMPET_DEV_SECRET"
	DevGatewayHeader  = "Limpet-Gateway"
)
