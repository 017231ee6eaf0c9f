namespace AllocTools.Tests.Model;

/// <summary>The length of a request, in terms of the pool's options.</summary>
/// <param name="Kind">Its meaning to the options.</param>
/// <param name="Number">The number of the class, or of one of several direct lengths.</param>
internal readonly record struct LengthPick(LengthKind Kind, int Number)
{
    public long In(PoolModel model)
    {
        PoolShape shape = model.Shape;
        long block = shape.Classes[Number % shape.Classes.Count].BlockSize;
        return Kind switch
        {
            LengthKind.One => 1,
            LengthKind.Block => block,
            LengthKind.UnderBlock => block - 1,
            LengthKind.OverBlock => block + 1,
            LengthKind.Direct => shape.Largest + 1 + (Number % 4 * 5000L),
            LengthKind.HalfCap => model.Cap / 2,
            LengthKind.Cap => model.Cap,
            LengthKind.OverCap => model.Cap + 1,
            LengthKind.Zero => 0,
            _ => long.MinValue,
        };
    }

    public override string ToString() => $"{Kind} {Number}";
}
