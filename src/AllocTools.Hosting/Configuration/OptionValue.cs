using System.Globalization;

namespace AllocTools.Hosting.Configuration;

/// <summary>Reads the text of a key, before the binder does, so that everything that is wrong is told at once.</summary>
internal static class OptionValue
{
    /// <summary>Reads a value.</summary>
    /// <param name="key">What it should be.</param>
    /// <param name="text">What stands there.</param>
    /// <param name="normal">As the binder takes it; the same for all spellings of a value.</param>
    /// <param name="expected">What would be right.</param>
    public static bool TryRead(OptionKey key, string text, out string normal, out string expected)
    {
        normal = text;
        expected = "";
        switch (key.Kind)
        {
            case OptionKind.Integer:
                expected = "a whole number";
                bool isInteger = int.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out int number);
                normal = number.ToString(CultureInfo.InvariantCulture);
                return isInteger;
            case OptionKind.Size:
                expected = ByteSize.Format;
                bool isSize = ByteSize.TryParse(text, out long bytes);
                normal = bytes.ToString(CultureInfo.InvariantCulture);
                return isSize;
            case OptionKind.Duration:
                expected = TimeText.Format;
                bool isTime = TimeText.TryParse(text, out TimeSpan time);
                normal = time.ToString("c", CultureInfo.InvariantCulture);
                return isTime;
            case OptionKind.Flag:
                expected = "true or false";
                bool isFlag = bool.TryParse(text, out bool flag);
                normal = flag ? "true" : "false";
                return isFlag;
            case OptionKind.Choice:
                expected = $"one of {string.Join(", ", key.Choices)}";
                return TryFindChoices(key, [text], out normal);
            case OptionKind.Choices:
                expected = $"some of {string.Join(", ", key.Choices)}, with commas between";
                return TryFindChoices(key, text.Split(','), out normal);
            default:
                expected = "a text";
                return true;
        }
    }

    /// <summary>The right spelling of what may have been meant, in quotes; null where it can't be guessed.</summary>
    public static string? Suggest(OptionKey key, string text) => key.Kind switch
    {
        OptionKind.Size => ByteSize.Suggest(text),
        OptionKind.Duration => TimeText.Suggest(text),
        _ => null,
    };

    /// <summary>Finds the names as they are declared, in that order.</summary>
    private static bool TryFindChoices(OptionKey key, IEnumerable<string> names, out string found)
    {
        HashSet<string> wanted = new(names.Select(n => n.Trim()), StringComparer.OrdinalIgnoreCase);
        string[] known = [.. key.Choices.Where(wanted.Contains)];
        found = string.Join(", ", known);
        return known.Length == wanted.Count;
    }
}
