namespace AllocTools.Endpoints;

/// <summary>
/// Notifications came faster than the application has read them, and there was room for no more
/// (<see cref="RmaEndpointOptions.MaxNotifications"/>). The writes themselves were done. Those that were kept, and later ones,
/// can be read as before.
/// </summary>
public sealed class RmaNotificationsLostException : RmaException
{
    /// <summary>Made by endpoints.</summary>
    /// <param name="count">How many were lost.</param>
    /// <param name="room">How many are kept.</param>
    public RmaNotificationsLostException(long count, int room)
        : base($"{count} notifications of peers' writes were lost, because {room} others had not been read. Read them sooner, have peers wait for an answer, or raise Provider:Endpoint:MaxNotifications.")
    {
        Count = count;
    }

    /// <summary>How many were lost since the last report.</summary>
    public long Count { get; }
}
