package ahead

const (
	PieceSize = pieceSize
	Pieces    = pieces
)
