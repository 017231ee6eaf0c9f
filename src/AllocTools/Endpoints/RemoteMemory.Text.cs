using System.Buffers;
using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Serialization;

namespace AllocTools.Endpoints;

/// <remarks>
/// The text form is the binary form in base64url without padding, for JSON, query strings and command lines. It contains
/// the key, so <see cref="ToString"/> and string interpolation don't return it; only <see cref="Format"/> and JSON do.
/// </remarks>
[JsonConverter(typeof(RemoteMemoryJsonConverter))]
public readonly partial struct RemoteMemory : ISpanParsable<RemoteMemory>
{
    private static readonly int MaxTextLength = Base64Url.GetEncodedLength(MaxEncodedLength);

    /// <summary>Returns the text form. Any reader of the text can use the memory, so keep it out of logs.</summary>
    public string Format() => Base64Url.EncodeToString(ToArray());

    /// <summary>Reads a text form.</summary>
    /// <param name="s">The text form, and nothing else.</param>
    /// <param name="provider">Not used.</param>
    /// <exception cref="FormatException">The text is not a text form; the message describes the error.</exception>
    public static RemoteMemory Parse(string s, IFormatProvider? provider = null)
    {
        ArgumentNullException.ThrowIfNull(s);
        return Parse(s.AsSpan(), provider);
    }

    /// <inheritdoc cref="Parse(string, IFormatProvider?)"/>
    public static RemoteMemory Parse(ReadOnlySpan<char> s, IFormatProvider? provider = null) =>
        TryParse(s, out RemoteMemory result, out string? error) ? result : throw new FormatException(error);

    /// <summary>Reads a text form, which may come from an untrusted source.</summary>
    /// <param name="s">The text form, and nothing else.</param>
    /// <param name="provider">Not used.</param>
    /// <param name="result">The result.</param>
    /// <returns>False if the text is not a text form.</returns>
    public static bool TryParse([NotNullWhen(true)] string? s, IFormatProvider? provider, out RemoteMemory result) =>
        TryParse(s.AsSpan(), provider, out result);

    /// <inheritdoc cref="TryParse(string?, IFormatProvider?, out RemoteMemory)"/>
    public static bool TryParse(ReadOnlySpan<char> s, IFormatProvider? provider, out RemoteMemory result) =>
        TryParse(s, out result, out _);

    internal static bool TryParse(ReadOnlySpan<char> text, out RemoteMemory memory, [NotNullWhen(false)] out string? error)
    {
        memory = default;
        if (text.Length > MaxTextLength)
        {
            error = $"The text of a RemoteMemory has at most {MaxTextLength} characters; {text.Length} were given.";
            return false;
        }
        byte[] bytes = new byte[Base64Url.GetMaxDecodedLength(text.Length)];
        if (Base64Url.DecodeFromChars(text, bytes, out _, out int length) != OperationStatus.Done)
        {
            error = "The text of a RemoteMemory must be base64url.";
            return false;
        }
        if (!TryRead(bytes.AsSpan(0, length), out RemoteMemory read, out int consumed, out error))
            return false;
        if (consumed != length)
        {
            error = $"The text of a RemoteMemory must end after {consumed} bytes; it has {length}.";
            return false;
        }
        memory = read;
        return true;
    }
}
