namespace AllocTools.Tests.Model;

/// <summary>Classifies a length by its meaning to the pool.</summary>
internal enum LengthKind
{
    One = 0,
    Block = 1,
    UnderBlock = 2,
    OverBlock = 3,
    Direct = 4,
    HalfCap = 5,
    Cap = 6,
    OverCap = 7,
    Zero = 8,
    Negative = 9,
}
