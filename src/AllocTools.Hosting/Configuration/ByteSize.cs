using System.Globalization;

namespace AllocTools.Hosting.Configuration;

/// <summary>A number of bytes as people write it.</summary>
internal static class ByteSize
{
    /// <summary>What <see cref="TryParse"/> takes, for errors.</summary>
    public const string Format = "a number of bytes, alone or with B, KiB, MiB, GiB or TiB, such as \"64 KiB\"";

    private static readonly (string Name, long Bytes)[] Units =
    [
        ("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("TiB", 1L << 40), ("B", 1),
    ];

    /// <summary>Reads a whole number with or without a unit. A fraction, or a decimal unit such as kB, is none of them.</summary>
    public static bool TryParse(string text, out long bytes)
    {
        ReadOnlySpan<char> number = text.AsSpan().Trim();
        long unit = 1;
        foreach ((string name, long size) in Units)
        {
            if (!number.EndsWith(name, StringComparison.OrdinalIgnoreCase))
                continue;
            number = number[..^name.Length].TrimEnd();
            unit = size;
            break;
        }
        if (!long.TryParse(number, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out bytes))
            return false;
        if (bytes > long.MaxValue / unit || bytes < long.MinValue / unit)
            return false;
        bytes *= unit;
        return true;
    }
}
