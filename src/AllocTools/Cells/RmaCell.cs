namespace AllocTools.Cells;

/// <summary>Constants and sizes of cells.</summary>
public static class RmaCell
{
    /// <summary>The required alignment of a cell in a buffer: 8 bytes.</summary>
    public const int Alignment = 8;

    /// <summary>The default time-out of a read of a cell: 1 s.</summary>
    public static TimeSpan DefaultReadTimeout { get; } = TimeSpan.FromSeconds(1);

    /// <summary>Returns the size of a cell in bytes: 24 bytes and the value, rounded up to a multiple of 8.</summary>
    /// <typeparam name="T">The value.</typeparam>
    public static unsafe int SizeOf<T>()
        where T : unmanaged => CellImage.SizeOf(sizeof(T));
}
