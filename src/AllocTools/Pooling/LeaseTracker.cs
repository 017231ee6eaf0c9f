using System.Diagnostics;

namespace AllocTools.Pooling;

/// <summary>
/// Goes with a watched lease: only its copies refer to it, so when the garbage collector finds it and the lease has not
/// ended, nobody can return the buffer any more.
/// </summary>
internal sealed class LeaseTracker : IDisposable
{
    /// <summary>Stands for the owner where no name was in force at the rent.</summary>
    public const string UnknownOwner = "an unknown owner";

    private readonly LeakDetector _detector;

    public LeaseTracker(LeakDetector detector, long length)
    {
        _detector = detector;
        Length = length;
        Owner = RmaOwner.Current ?? UnknownOwner;
        Stack = new StackTrace(skipFrames: 3, fNeedFileInfo: true).ToString();
    }

    /// <summary>The collector has found that nothing refers to the lease.</summary>
    ~LeaseTracker() => _detector.OnLost(Length, Owner, Stack);

    public long Length { get; }

    public string Owner { get; }

    public string Stack { get; }

    /// <summary>The lease has ended.</summary>
    public void Dispose()
    {
        GC.SuppressFinalize(this);
        _detector.OnEnded(this);
    }
}
