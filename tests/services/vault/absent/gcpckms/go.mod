module absent

go 1.23.0
