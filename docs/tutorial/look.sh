lakehouse get spent customer=ann
lakehouse sql "select _rules, _text from quarantine.orders"
lakehouse trace spent customer=ann
