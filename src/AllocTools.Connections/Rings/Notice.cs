namespace AllocTools.Connections.Rings;

/// <summary>What a write says by its notification, in 32 bits: some transports have no more.</summary>
/// <remarks>20 bits of the connection's number at the receiver, 2 of the kind, 10 of the run's number. Runs may be announced out of order (EFA).</remarks>
/// <param name="Connection">The receiver's number of the connection.</param>
/// <param name="Kind">What was written.</param>
/// <param name="Sequence">The number of the run, modulo 1,024.</param>
internal readonly record struct Notice(int Connection, NoticeKind Kind, int Sequence)
{
    /// <summary>The highest number of a connection.</summary>
    public const int MostConnections = (1 << 20) - 1;

    /// <summary>Runs are counted modulo this and one more.</summary>
    public const int SequenceMask = (1 << 10) - 1;

    public static Notice Decode(ulong value) => new((int)(value >> 12) & MostConnections, (NoticeKind)((value >> 10) & 3), (int)value & SequenceMask);

    public ulong Encode() => ((ulong)(uint)Connection << 12) | ((ulong)Kind << 10) | (uint)Sequence;
}

/// <summary>What a write has put where.</summary>
internal enum NoticeKind
{
    /// <summary>A run, directly behind the one before.</summary>
    Data = 0,

    /// <summary>A run at the start of the ring; what was left behind the one before is skipped.</summary>
    DataAtStart = 1,

    /// <summary>The credit word.</summary>
    Credit = 2,
}
