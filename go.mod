module github.com/limpet-games/limpet

go 1.26.8
