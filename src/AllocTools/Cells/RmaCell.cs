namespace AllocTools.Cells;

/// <summary>What holds of all cells.</summary>
public static class RmaCell
{
    /// <summary>Where a cell may begin in a buffer: at a multiple of 8 bytes.</summary>
    public const int Alignment = 8;

    /// <summary>How long a read of a cell is tried where nothing else is said: 1 s.</summary>
    public static TimeSpan DefaultReadTimeout { get; } = TimeSpan.FromSeconds(1);

    /// <summary>How much memory a cell takes: 24 bytes and the value, rounded up to a multiple of 8.</summary>
    /// <typeparam name="T">The value.</typeparam>
    public static unsafe int SizeOf<T>()
        where T : unmanaged => CellImage.SizeOf(sizeof(T));
}
