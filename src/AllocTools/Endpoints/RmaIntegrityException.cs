namespace AllocTools.Endpoints;

/// <summary>Thrown when bytes do not match the check value that was computed at their origin: they were damaged in transit or in memory.</summary>
public sealed class RmaIntegrityException : RmaException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">What was damaged, and where; both check values are appended.</param>
    /// <param name="offset">The offset of the checked bytes.</param>
    /// <param name="length">The number of checked bytes.</param>
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

    /// <summary>The offset of the checked bytes in the stream, the message, or the memory.</summary>
    public long Offset { get; }

    /// <summary>The number of bytes that the check value covers.</summary>
    public long Length { get; }

    /// <summary>The check value that came with the bytes.</summary>
    public ulong Expected { get; }

    /// <summary>The check value of the bytes that were found.</summary>
    public ulong Found { get; }
}
