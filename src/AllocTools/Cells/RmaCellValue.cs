namespace AllocTools.Cells;

/// <summary>A value read from a cell, which is from a single write.</summary>
/// <typeparam name="T">The value.</typeparam>
/// <param name="Value">The value.</param>
/// <param name="Version">How often the cell had been written: of two values the one with the higher number is newer.</param>
public readonly record struct RmaCellValue<T>(T Value, long Version)
    where T : unmanaged;
