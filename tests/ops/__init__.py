"""Operations on the model of ZFS, in process."""
