namespace AllocTools.Endpoints;

/// <summary>
/// Thrown when notifications arrived faster than the application read them, and there was no more room
/// (<see cref="RmaEndpointOptions.MaxNotifications"/>). The writes themselves were executed. Notifications that were
/// kept, and later ones, can be read as usual.
/// </summary>
public sealed class RmaNotificationsLostException : RmaException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="count">The number of lost notifications.</param>
    /// <param name="room">The number of notifications that are kept.</param>
    public RmaNotificationsLostException(long count, int room)
        : base($"{count} notifications of peers' writes were lost, because {room} others had not been read. Read them sooner, have peers wait for an answer, or raise Provider:Endpoint:MaxNotifications.")
    {
        Count = count;
    }

    /// <summary>The number of notifications that were lost since the last report.</summary>
    public long Count { get; }
}
