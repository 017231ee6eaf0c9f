namespace AllocTools.Endpoints;

/// <summary>
/// Notifications arrived faster than the application read them, and there was no more room
/// (<see cref="RmaEndpointOptions.MaxNotifications"/>). The writes themselves were executed. Notifications that were
/// kept, and later ones, can be read as before.
/// </summary>
public sealed class RmaNotificationsLostException : RmaException
{
    /// <summary>Creates a region; called by endpoints.</summary>
    /// <param name="count">How many were lost.</param>
    /// <param name="room">The number that is kept.</param>
    public RmaNotificationsLostException(long count, int room)
        : base($"{count} notifications of peers' writes were lost, because {room} others had not been read. Read them sooner, have peers wait for an answer, or raise Provider:Endpoint:MaxNotifications.")
    {
        Count = count;
    }

    /// <summary>How many were lost since the last report.</summary>
    public long Count { get; }
}
