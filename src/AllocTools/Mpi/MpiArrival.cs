namespace AllocTools.Mpi;

/// <summary>The kind of a message between endpoints of a job; two bits of its tag.</summary>
internal enum MpiKind
{
    /// <summary>A message of the application.</summary>
    Message = 0,

    /// <summary>The notification of a write whose bytes have arrived: 8 bytes.</summary>
    Notification = 1,

    /// <summary>A control message between drivers: a <see cref="MpiWord"/>.</summary>
    Word = 2,
}

/// <summary>The control messages between drivers.</summary>
internal enum MpiWord
{
    /// <summary>The sender's messages are counted from now on, and are meant for the endpoint with this random number.</summary>
    Hello = 0,

    /// <summary>The sender recalls a message, by its number, if no receive has taken it.</summary>
    Recall = 1,

    /// <summary>The answer: the message was recalled and is dropped.</summary>
    Recalled = 2,

    /// <summary>The answer: a receive has taken the message, or will.</summary>
    Kept = 3,

    /// <summary>The endpoint that a message was sent to is closed.</summary>
    Gone = 4,

    /// <summary>The answer: the sender knows that, so its messages can be dropped. Before that, they would count as sent.</summary>
    GoneSeen = 5,
}

/// <summary>The bytes of a <see cref="MpiKind.Word"/>.</summary>
internal struct MpiWordBytes
{
    public long Word;
    public ulong Number;
}

/// <summary>An arrived message and its sender.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="From">The sender.</param>
/// <param name="Message">MPI's handle for receiving the message; 0 for a word, which has already been read.</param>
/// <param name="Length">The length in bytes.</param>
/// <param name="Word">The word.</param>
/// <param name="Number">The word's number, or a message's number among those of its sender.</param>
internal readonly record struct MpiArrival(MpiKind Kind, MpiPlace From, nint Message, int Length, MpiWord Word = default, ulong Number = 0);

/// <summary>The location of an endpoint.</summary>
/// <param name="Rank">The rank of the endpoint's process.</param>
/// <param name="Endpoint">The endpoint's number in the process.</param>
internal readonly record struct MpiPlace(int Rank, int Endpoint);
