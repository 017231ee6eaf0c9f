using System.Globalization;

namespace AllocTools.Hosting.Configuration;

/// <summary>Reads the text of a key, before the binder does, so that everything that is wrong is told at once.</summary>
internal static class OptionValue
{
    /// <summary>Reads a value.</summary>
    /// <param name="key">What it should be.</param>
    /// <param name="text">What stands there.</param>
    /// <param name="normal">As the binder takes it.</param>
    /// <param name="expected">What would be right.</param>
    public static bool TryRead(OptionKey key, string text, out string normal, out string expected)
    {
        normal = text;
        expected = "";
        switch (key.Kind)
        {
            case OptionKind.Integer:
                expected = "a whole number";
                return int.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out _);
            case OptionKind.Size:
                expected = ByteSize.Format;
                bool isSize = ByteSize.TryParse(text, out long bytes);
                normal = bytes.ToString(CultureInfo.InvariantCulture);
                return isSize;
            case OptionKind.Duration:
                // The framework reads a number alone as days, which nobody means.
                expected = "a time as \"hh:mm:ss\" or \"hh:mm:ss.fff\", such as \"00:00:30\" for 30 seconds";
                return text.Contains(':', StringComparison.Ordinal) && TimeSpan.TryParse(text, CultureInfo.InvariantCulture, out _);
            case OptionKind.Flag:
                expected = "true or false";
                return bool.TryParse(text, out _);
            case OptionKind.Choice:
                expected = $"one of {string.Join(", ", key.Choices)}";
                return key.Choices.Contains(text.Trim(), StringComparer.OrdinalIgnoreCase);
            case OptionKind.Choices:
                expected = $"some of {string.Join(", ", key.Choices)}, with commas between";
                return text.Split(',').All(name => key.Choices.Contains(name.Trim(), StringComparer.OrdinalIgnoreCase));
            default:
                expected = "a text";
                return true;
        }
    }
}
