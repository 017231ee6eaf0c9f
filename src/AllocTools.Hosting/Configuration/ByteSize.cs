using System.Globalization;

namespace AllocTools.Hosting.Configuration;

/// <summary>Reads a number of bytes in the form in which people write it.</summary>
internal static class ByteSize
{
    /// <summary>A description of the valid texts, for errors.</summary>
    public const string Format = "a number of bytes, alone or with B, KiB, MiB, GiB or TiB, such as \"64 KiB\"";

    private static readonly (string Name, long Bytes)[] Units =
    [
        ("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("TiB", 1L << 40), ("B", 1),
    ];

    /// <summary>Reads a whole number with or without a unit. Fractions and decimal units such as kB are not accepted.</summary>
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

    /// <summary>
    /// Returns the valid spelling that may have been meant by <c>1 GB</c>, <c>64k</c>, <c>1.5 GiB</c> or <c>1,024</c>;
    /// null if it can't be guessed.
    /// </summary>
    public static string? Suggest(string text)
    {
        string trimmed = text.Trim();
        string letters = new([.. trimmed.SkipWhile(c => !char.IsAsciiLetter(c))]);
        string digits = trimmed[..^letters.Length].Replace(",", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal);
        // The first letter determines the unit: G, GB, Gi and GiB are all GiB.
        (string Name, long Bytes) unit = letters.Length is > 0 and <= 3
            ? Array.Find(Units, u => char.ToUpperInvariant(letters[0]) == u.Name[0])
            : letters.Length == 0 ? Units[^1] : default;
        if (unit.Name is null || !decimal.TryParse(digits, NumberStyles.AllowDecimalPoint | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out decimal amount))
            return null;
        if (amount <= 0 || amount > long.MaxValue / unit.Bytes || amount * unit.Bytes % 1 != 0)
            return null;
        (string name, long size) = Array.FindLast([Units[^1], .. Units[..^1]], u => amount * unit.Bytes % u.Bytes == 0);
        return string.Create(CultureInfo.InvariantCulture, $"\"{amount * unit.Bytes / size:0} {name}\"");
    }
}
