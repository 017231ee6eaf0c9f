using System.Globalization;
using AllocTools.Providers;

namespace AllocTools.Hosting.Configuration;

/// <summary>Reads the text of a key, so that all errors are reported at once.</summary>
internal static class OptionValue
{
    /// <summary>Reads a value.</summary>
    /// <param name="kind">The expected kind.</param>
    /// <param name="choices">The names of a choice.</param>
    /// <param name="text">The text found.</param>
    /// <param name="normal">The value in the form that <see cref="RmaOptionKey.Set(object, string)"/> accepts, which is
    /// the same for all spellings of a value.</param>
    /// <param name="expected">A description of the valid values.</param>
    public static bool TryRead(RmaOptionKind kind, IReadOnlyList<string> choices, string text, out string normal, out string expected)
    {
        normal = text;
        expected = "";
        switch (kind)
        {
            case RmaOptionKind.Integer:
                expected = "a whole number";
                bool isInteger = int.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out int number);
                normal = number.ToString(CultureInfo.InvariantCulture);
                return isInteger;
            case RmaOptionKind.Size:
                expected = ByteSize.Format;
                bool isSize = ByteSize.TryParse(text, out long bytes);
                normal = bytes.ToString(CultureInfo.InvariantCulture);
                return isSize;
            case RmaOptionKind.Duration:
                expected = TimeText.Format;
                bool isTime = TimeText.TryParse(text, out TimeSpan time);
                normal = time.ToString("c", CultureInfo.InvariantCulture);
                return isTime;
            case RmaOptionKind.Flag:
                expected = "true or false";
                bool isFlag = bool.TryParse(text, out bool flag);
                normal = flag ? "true" : "false";
                return isFlag;
            case RmaOptionKind.Choice:
                expected = $"one of {string.Join(", ", choices)}";
                return TryFindChoices(choices, [text], out normal);
            case RmaOptionKind.Choices:
                expected = $"one or more of {string.Join(", ", choices)}, separated by commas";
                return TryFindChoices(choices, text.Split(','), out normal);
            default:
                expected = "a string";
                return true;
        }
    }

    /// <summary>Returns the valid spelling that may have been meant, in quotes; null if it can't be guessed.</summary>
    public static string? Suggest(RmaOptionKey key, string text) => key.Kind switch
    {
        RmaOptionKind.Size => ByteSize.Suggest(text),
        RmaOptionKind.Duration => TimeText.Suggest(text, key.LongestTime, key.HasNever),
        _ => null,
    };

    /// <summary>Finds the names in their declared spelling and in the given order.</summary>
    private static bool TryFindChoices(IReadOnlyList<string> choices, IEnumerable<string> names, out string found)
    {
        HashSet<string> wanted = new(names.Select(n => n.Trim()), StringComparer.OrdinalIgnoreCase);
        string[] known = [.. choices.Where(wanted.Contains)];
        found = string.Join(", ", known);
        return known.Length == wanted.Count;
    }
}
