namespace AllocTools.Mpi;

/// <summary>What a message between endpoints of a job is; two bits of its tag.</summary>
internal enum MpiKind
{
    /// <summary>A message of the application.</summary>
    Message = 0,

    /// <summary>The number of a write whose bytes are there: 8 bytes.</summary>
    Notification = 1,

    /// <summary>What drivers say to each other: a <see cref="MpiWord"/>.</summary>
    Word = 2,
}

/// <summary>What drivers say to each other.</summary>
internal enum MpiWord
{
    /// <summary>Messages of this sender are counted from here on, and are for the endpoint whose random number this has.</summary>
    Hello = 0,

    /// <summary>The sender takes a message back, by its number, where no receive has taken it.</summary>
    Recall = 1,

    /// <summary>The answer: the message was taken back, and is dropped.</summary>
    Recalled = 2,

    /// <summary>The answer: a receive has taken it, or will.</summary>
    Kept = 3,

    /// <summary>The endpoint that a message goes to is closed.</summary>
    Gone = 4,

    /// <summary>The answer: the sender knows, so its messages can be dropped. Before, they would count as sent.</summary>
    GoneSeen = 5,
}

/// <summary>The bytes of a <see cref="MpiKind.Word"/>.</summary>
internal struct MpiWordBytes
{
    public long Word;
    public ulong Number;
}

/// <summary>What has arrived at an endpoint, and from whom.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="From">Who has sent it.</param>
/// <param name="Message">MPI's handle of it, by which it is received; 0 for a word, which has been read.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Word">The word.</param>
/// <param name="Number">The word's number; or a message's number among those of its sender.</param>
internal readonly record struct MpiArrival(MpiKind Kind, MpiPlace From, nint Message, int Length, MpiWord Word = default, ulong Number = 0);

/// <summary>Where an endpoint is.</summary>
/// <param name="Rank">Its process's rank.</param>
/// <param name="Endpoint">Its number in the process.</param>
internal readonly record struct MpiPlace(int Rank, int Endpoint);
