namespace AllocTools.Endpoints;

/// <summary>Bytes do not have the check value that was computed where they came from: they were damaged on the way, or in memory.</summary>
public sealed class RmaIntegrityException : RmaException
{
    /// <summary>Makes an error.</summary>
    /// <param name="message">What was damaged, and where; both values are added.</param>
    /// <param name="offset">Where the checked bytes begin.</param>
    /// <param name="length">How many they are.</param>
    /// <param name="expected">The check value that came with the bytes.</param>
    /// <param name="found">The check value of the bytes that were found.</param>
    public RmaIntegrityException(string message, long offset, long length, ulong expected, ulong found)
        : base($"{message}: their check value is 0x{found:x}; it must be 0x{expected:x}.")
    {
        Offset = offset;
        Length = length;
        Expected = expected;
        Found = found;
    }

    /// <summary>Where the checked bytes begin: in the stream, the message, or the memory.</summary>
    public long Offset { get; }

    /// <summary>How many bytes were checked by that value.</summary>
    public long Length { get; }

    /// <summary>The check value that came with the bytes.</summary>
    public ulong Expected { get; }

    /// <summary>The check value of the bytes that were found.</summary>
    public ulong Found { get; }
}
