namespace AllocTools.Connections.Rings;

/// <summary>The notification of a write, in 32 bits, because some transports support no more.</summary>
/// <remarks>
/// It has 20 bits for the receiver's number of the connection, 2 for the kind and 10 for the run's number. Runs may be
/// announced out of order (EFA).
/// </remarks>
/// <param name="Connection">The receiver's number of the connection.</param>
/// <param name="Kind">The kind of write.</param>
/// <param name="Sequence">The number of the run, modulo 1,024.</param>
internal readonly record struct Notice(int Connection, NoticeKind Kind, int Sequence)
{
    /// <summary>The highest number of a connection.</summary>
    public const int MostConnections = (1 << 20) - 1;

    /// <summary>Runs are counted modulo this number plus one.</summary>
    public const int SequenceMask = (1 << 10) - 1;

    public static Notice Decode(ulong value) => new((int)(value >> 12) & MostConnections, (NoticeKind)((value >> 10) & 3), (int)value & SequenceMask);

    public ulong Encode() => ((ulong)(uint)Connection << 12) | ((ulong)Kind << 10) | (uint)Sequence;
}

/// <summary>The kind and the place of a write.</summary>
internal enum NoticeKind
{
    /// <summary>A run, directly behind the one before.</summary>
    Data = 0,

    /// <summary>A run at the start of the ring; the rest of the ring after the previous run is skipped.</summary>
    DataAtStart = 1,

    /// <summary>The credit word.</summary>
    Credit = 2,
}
